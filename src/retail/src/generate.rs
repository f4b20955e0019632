//! Random transactions with the guide's distributions.

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use rand::seq::{IndexedRandom, index};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

const PAYMENT_METHODS: [&str; 4] = ["CARD", "CASH", "DIGITAL_WALLET", "GIFT_CARD"];
/// The share of transactions that have a customer. The others are anonymous.
const CUSTOMER_SHARE: f64 = 0.9;
const MAX_PRODUCTS: usize = 5;
const MAX_QUANTITY: i32 = 3;

/// The number of days from [`first_day`] within which seeded transactions happen.
const SEEDED_DAYS: i64 = 28;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Returns the first day of seeded transactions: a Monday, so that weeks are whole.
fn first_day() -> NaiveDateTime {
    NaiveDate::from_ymd_opt(2026, 1, 5)
        .and_then(|day| day.and_hms_opt(0, 0, 0))
        .expect("a date of the calendar")
}

/// The rows that transactions refer to, as the tables hold them. Each list is in the order of its
/// ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    pub stores: Vec<i32>,
    pub products: Vec<Product>,
    pub customers: Vec<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    pub product_id: i32,
    pub unit_cents: i64,
}

/// One purchase; all amounts are in cents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub store_id: i32,
    pub customer_id: Option<i32>,
    pub payment_method: &'static str,
    /// The time of the purchase; `None` leaves it to the column's default.
    pub timestamp: Option<NaiveDateTime>,
    /// The items, each of a different product: one to five, or fewer if the catalog has fewer.
    pub items: Vec<Item>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub product_id: i32,
    pub quantity: i32,
    pub unit_cents: i64,
}

impl Item {
    pub fn line_cents(&self) -> i64 {
        self.unit_cents * i64::from(self.quantity)
    }
}

impl Transaction {
    pub fn total_cents(&self) -> i64 {
        self.items.iter().map(Item::line_cents).sum()
    }
}

/// An endless sequence of transactions. The same seed on the same catalog gives the same sequence.
pub struct Generator {
    catalog: Catalog,
    random: ChaCha12Rng,
    seeded: bool,
}

impl Generator {
    /// Creates a generator, or returns `None` if there is no store or no product.
    ///
    /// With a seed, timestamps are part of the sequence: spread evenly over four weeks from
    /// 2026-01-05, to the microsecond. Without one, the sequence is random and timestamps are left
    /// to the database.
    pub fn new(catalog: Catalog, seed: Option<u64>) -> Option<Self> {
        if catalog.stores.is_empty() || catalog.products.is_empty() {
            return None;
        }
        let random = seed.map_or_else(ChaCha12Rng::from_os_rng, ChaCha12Rng::seed_from_u64);
        Some(Self {
            catalog,
            random,
            seeded: seed.is_some(),
        })
    }
}

impl Iterator for Generator {
    type Item = Transaction;

    fn next(&mut self) -> Option<Transaction> {
        let Self {
            catalog,
            random,
            seeded,
        } = self;
        let store_id = *catalog.stores.choose(random)?;
        let customer_id = if random.random_bool(CUSTOMER_SHARE) {
            catalog.customers.choose(random).copied()
        } else {
            None
        };
        let payment_method = *PAYMENT_METHODS.choose(random)?;
        let wanted = random
            .random_range(1..=MAX_PRODUCTS)
            .min(catalog.products.len());
        let items = index::sample(random, catalog.products.len(), wanted)
            .into_iter()
            .map(|chosen| {
                let Product {
                    product_id,
                    unit_cents,
                } = catalog.products[chosen];
                Item {
                    product_id,
                    quantity: random.random_range(1..=MAX_QUANTITY),
                    unit_cents,
                }
            })
            .collect();
        let timestamp = seeded.then(|| {
            first_day()
                + TimeDelta::microseconds(random.random_range(0..SEEDED_DAYS * MICROS_PER_DAY))
        });
        Some(Transaction {
            store_id,
            customer_id,
            payment_method,
            timestamp,
            items,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn catalog() -> Catalog {
        let products = (1..=15)
            .map(|id| Product {
                product_id: id,
                unit_cents: i64::from(id) * 100 + 99,
            })
            .collect();
        Catalog {
            stores: (1..=5).collect(),
            products,
            customers: (1..=10).collect(),
        }
    }

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let some = |seed| {
            Generator::new(catalog(), Some(seed))
                .unwrap()
                .take(50)
                .collect::<Vec<_>>()
        };
        assert_eq!(some(7), some(7));
        assert_ne!(some(7), some(8));
    }

    #[test]
    fn the_guides_distributions() {
        let transactions: Vec<_> = Generator::new(catalog(), Some(1))
            .unwrap()
            .take(20_000)
            .collect();
        let share = |count: usize, of: usize| count as f64 / of as f64;
        let anonymous = transactions
            .iter()
            .filter(|transaction| transaction.customer_id.is_none())
            .count();
        assert!(
            (share(anonymous, transactions.len()) - 0.1).abs() < 0.01,
            "{anonymous}"
        );
        for store in 1..=5 {
            let count = transactions
                .iter()
                .filter(|transaction| transaction.store_id == store)
                .count();
            assert!(
                (share(count, transactions.len()) - 0.2).abs() < 0.015,
                "store {store}: {count}"
            );
        }
        for method in PAYMENT_METHODS {
            let count = transactions
                .iter()
                .filter(|transaction| transaction.payment_method == method)
                .count();
            assert!(
                (share(count, transactions.len()) - 0.25).abs() < 0.015,
                "{method}: {count}"
            );
        }
        for size in 1..=5 {
            let count = transactions
                .iter()
                .filter(|transaction| transaction.items.len() == size)
                .count();
            assert!(
                (share(count, transactions.len()) - 0.2).abs() < 0.015,
                "{size} items: {count}"
            );
        }
        let items: Vec<_> = transactions
            .iter()
            .flat_map(|transaction| &transaction.items)
            .collect();
        for quantity in 1..=3 {
            let count = items
                .iter()
                .filter(|item| item.quantity == quantity)
                .count();
            assert!(
                (share(count, items.len()) - 1.0 / 3.0).abs() < 0.015,
                "quantity {quantity}: {count}"
            );
        }
        for product in 1..=15 {
            let count = items
                .iter()
                .filter(|item| item.product_id == product)
                .count();
            assert!(
                (share(count, items.len()) - 1.0 / 15.0).abs() < 0.01,
                "product {product}: {count}"
            );
        }
        for transaction in &transactions {
            let products: HashSet<_> = transaction
                .items
                .iter()
                .map(|item| item.product_id)
                .collect();
            assert_eq!(products.len(), transaction.items.len(), "{transaction:?}");
        }
    }

    #[test]
    fn without_a_store_or_a_product_there_is_nothing_to_sell() {
        assert!(
            Generator::new(
                Catalog {
                    stores: vec![],
                    ..catalog()
                },
                None
            )
            .is_none()
        );
        assert!(
            Generator::new(
                Catalog {
                    products: vec![],
                    ..catalog()
                },
                None
            )
            .is_none()
        );
        let anonymous = Generator::new(
            Catalog {
                customers: vec![],
                ..catalog()
            },
            None,
        )
        .unwrap()
        .take(20);
        assert!(
            anonymous
                .into_iter()
                .all(|transaction| transaction.customer_id.is_none())
        );
    }

    #[test]
    fn amounts_are_whole_cents() {
        let item = Item {
            product_id: 1,
            quantity: 3,
            unit_cents: 1499,
        };
        let transaction = Transaction {
            store_id: 1,
            customer_id: None,
            payment_method: "CARD",
            timestamp: None,
            items: vec![
                item,
                Item {
                    product_id: 2,
                    quantity: 1,
                    unit_cents: 7999,
                },
            ],
        };
        assert_eq!(
            (item.line_cents(), transaction.total_cents()),
            (4497, 12_496)
        );
    }
}
