-- title: Names and addresses taken apart (string functions)
SELECT upper(last_name) || ', ' || first_name AS full_name,
       split_part(email, '@', 1) AS mailbox,
       split_part(email, '@', 2) AS domain,
       char_length(email) AS length,
       strpos(email, '.') AS first_dot,
       left(first_name, 1) || '.' || left(last_name, 1) || '.' AS initials,
       lpad(CAST(customer_id AS varchar), 4, '0') AS number,
       replace(lower(loyalty_tier), 'o', '0') AS tier,
       reverse(first_name) AS backwards,
       email LIKE '%._@%' AS short_surname
FROM {{customers}}
ORDER BY full_name
