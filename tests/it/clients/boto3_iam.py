"""Uses IAM and STS through boto3: every action, its errors, and its pages."""

import json
import os
import urllib.error
import urllib.request

import boto3
from botocore.exceptions import ClientError

ACCOUNT = os.environ["ICEBOX_ACCOUNT"]
iam, sts = boto3.client("iam"), boto3.client("sts")


def refused(expected, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == expected, error
        return error.response["Error"]["Message"]
    raise AssertionError(f"{call} {arguments} should have failed")


def policy(action, resource="*", effect="Allow"):
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": effect, "Action": action, "Resource": resource}],
        }
    )


# Users and access keys.
user = iam.create_user(UserName="jo", Path="/people/")["User"]
assert user["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/people/jo" and user["UserId"].startswith(
    "AIDA"
), user
assert iam.get_user(UserName="jo")["User"] == user
assert iam.get_user()["User"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
assert "Jo already exists" in refused("EntityAlreadyExists", iam.create_user, UserName="Jo")
refused("NoSuchEntity", iam.get_user, UserName="ann")
refused("ValidationError", iam.create_user, UserName="a b")
key = iam.create_access_key(UserName="jo")["AccessKey"]
assert (
    key["AccessKeyId"].startswith("AKIA")
    and len(key["SecretAccessKey"]) == 40
    and key["Status"] == "Active"
)
iam.create_access_key(UserName="jo")
refused("LimitExceeded", iam.create_access_key, UserName="jo")
listed = iam.list_access_keys(UserName="jo")["AccessKeyMetadata"]
assert len(listed) == 2 and not any("SecretAccessKey" in k for k in listed), listed
for other in listed:
    if other["AccessKeyId"] != key["AccessKeyId"]:
        iam.delete_access_key(UserName="jo", AccessKeyId=other["AccessKeyId"])
refused("NoSuchEntity", iam.delete_access_key, UserName="jo", AccessKeyId="AKIAAAAAAAAAAAAAAAAA")
refused("DeleteConflict", iam.delete_user, UserName="jo")

# A deactivated key is refused, and accepted again once it is active.
jo = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"])
assert jo.client("sts").get_caller_identity()["UserId"] == user["UserId"]
iam.update_access_key(UserName="jo", AccessKeyId=key["AccessKeyId"], Status="Inactive")
refused("InvalidClientTokenId", jo.client("sts").get_caller_identity)
iam.update_access_key(UserName="jo", AccessKeyId=key["AccessKeyId"], Status="Active")
assert jo.client("sts").get_caller_identity()["Account"] == ACCOUNT

# Session tokens have the user's own permissions on S3 and STS, but none on IAM.
iam.put_user_policy(UserName="jo", PolicyName="s3", PolicyDocument=policy("s3:*"))
assert json.loads(
    json.dumps(iam.get_user_policy(UserName="jo", PolicyName="s3")["PolicyDocument"])
) == json.loads(policy("s3:*"))
assert iam.list_user_policies(UserName="jo")["PolicyNames"] == ["s3"]
assert len(jo.client("sts").get_session_token()["Credentials"]["SessionToken"]) > 100
token = jo.client("sts").get_session_token(DurationSeconds=900)["Credentials"]
temporary = boto3.Session(token["AccessKeyId"], token["SecretAccessKey"], token["SessionToken"])
temporary.client("s3").create_bucket(Bucket="made-by-jo")
assert [b["Name"] for b in temporary.client("s3").list_buckets()["Buckets"]] == ["made-by-jo"]
assert temporary.client("sts").get_caller_identity()["Arn"] == user["Arn"]
refused("InvalidClientTokenId", temporary.client("iam").list_users)
refused("AccessDenied", temporary.client("sts").get_session_token)
refused("ValidationError", jo.client("sts").get_session_token, DurationSeconds=129601)

# A presigned form allows the uploads that the user's policies allow.
iam.put_user_policy(
    UserName="jo",
    PolicyName="s3",
    PolicyDocument=policy("s3:PutObject", "arn:aws:s3:::made-by-jo/up/*"),
)
for name, expected in [("up/x", 204), ("down/x", 403)]:
    form = jo.client("s3").generate_presigned_post("made-by-jo", name)
    parts = [(f'name="{field}"', value) for field, value in form["fields"].items()] + [
        ('name="file"; filename="x"', "body")
    ]
    body = "".join(
        f"--BOUNDARY\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n"
        for head, value in parts
    )
    request = urllib.request.Request(
        f"{os.environ['AWS_ENDPOINT_URL']}/made-by-jo",
        data=(body + "--BOUNDARY--\r\n").encode(),
        headers={"Content-Type": "multipart/form-data; boundary=BOUNDARY"},
    )
    try:
        status = urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode()
        assert status == 403 and "is not authorized to perform: s3:PutObject" in text, text
    assert status == expected, (name, status)
boto3.client("s3").delete_object(Bucket="made-by-jo", Key="up/x")
iam.put_user_policy(UserName="jo", PolicyName="s3", PolicyDocument=policy("s3:*"))

# Managed policies and their versions.
made = iam.create_policy(
    PolicyName="lake", PolicyDocument=policy("s3:GetObject"), Description="reads"
)["Policy"]
arn = made["Arn"]
assert made["DefaultVersionId"] == "v1" and made["AttachmentCount"] == 0, made
refused(
    "EntityAlreadyExists",
    iam.create_policy,
    PolicyName="lake",
    PolicyDocument=policy("s3:GetObject"),
)
for text, reason in [
    ("{", "Syntax errors in policy."),
    (policy("GetObject"), "must be prefaced by a vendor"),
    (policy("s3:GetObject", "lake"), 'Resource lake must be in ARN format or "*".'),
    (policy([]), "Policy statement must contain actions."),
    (policy("s3:GetObject", effect="Maybe"), "Syntax errors in policy."),
]:
    assert reason in refused(
        "MalformedPolicyDocument", iam.create_policy, PolicyName="p", PolicyDocument=text
    ), text
refused(
    "LimitExceeded",
    iam.create_policy,
    PolicyName="p",
    PolicyDocument=policy(["s3:GetObject"] * 500),
)
for n in range(2, 6):
    version = iam.create_policy_version(
        PolicyArn=arn, PolicyDocument=policy(f"s3:Get{n}*"), SetAsDefault=n == 3
    )
    assert version["PolicyVersion"]["VersionId"] == f"v{n}"
refused("LimitExceeded", iam.create_policy_version, PolicyArn=arn, PolicyDocument=policy("s3:*"))
assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v3"
assert (
    iam.get_policy_version(PolicyArn=arn, VersionId="v3")["PolicyVersion"]["Document"]["Statement"][
        0
    ]["Action"]
    == "s3:Get3*"
)
refused("DeleteConflict", iam.delete_policy_version, PolicyArn=arn, VersionId="v3")
iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
iam.delete_policy_version(PolicyArn=arn, VersionId="v5")
assert (
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy("s3:*"))["PolicyVersion"][
        "VersionId"
    ]
    == "v6"
)
assert [v["VersionId"] for v in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == [
    "v1",
    "v2",
    "v3",
    "v4",
    "v6",
]
refused("NoSuchEntity", iam.get_policy_version, PolicyArn=arn, VersionId="v9")
refused("DeleteConflict", iam.delete_policy, PolicyArn=arn)
refused("NoSuchEntity", iam.get_policy, PolicyArn=arn + "x")

# Roles and their trust policies.
trust = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": user["Arn"]}, "Action": "sts:AssumeRole"}
    ],
}
role = iam.create_role(
    RoleName="reader", AssumeRolePolicyDocument=json.dumps(trust), Path="/app/", Description="reads"
)["Role"]
assert (
    role["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/app/reader" and role["MaxSessionDuration"] == 3600
), role
assert iam.get_role(RoleName="reader")["Role"]["AssumeRolePolicyDocument"] == trust
refused(
    "EntityAlreadyExists",
    iam.create_role,
    RoleName="READER",
    AssumeRolePolicyDocument=json.dumps(trust),
)
for change, reason in [
    ({"Principal": {"AWS": user["Arn"] + "x"}}, "Invalid principal in policy"),
    ({"Resource": "*"}, "Has prohibited field Resource"),
    ({"Action": "s3:GetObject"}, "AssumeRole policy may only specify STS AssumeRole actions."),
]:
    text = json.dumps({**trust, "Statement": [{**trust["Statement"][0], **change}]})
    assert reason in refused(
        "MalformedPolicyDocument", iam.create_role, RoleName="r", AssumeRolePolicyDocument=text
    )
refused("ValidationError", iam.update_role, RoleName="reader", MaxSessionDuration=43201)
iam.update_role(RoleName="reader", MaxSessionDuration=7200, Description="reads more")
shown = iam.get_role(RoleName="reader")["Role"]
assert (shown["MaxSessionDuration"], shown["Description"]) == (7200, "reads more")
iam.attach_role_policy(RoleName="reader", PolicyArn=arn)
iam.attach_role_policy(
    RoleName="reader", PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
)
refused("NoSuchEntity", iam.attach_role_policy, RoleName="reader", PolicyArn=arn + "x")
names = [
    p["PolicyName"] for p in iam.list_attached_role_policies(RoleName="reader")["AttachedPolicies"]
]
assert sorted(names) == ["AmazonS3ReadOnlyAccess", "lake"], names
assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
assert [r["RoleName"] for r in iam.list_entities_for_policy(PolicyArn=arn)["PolicyRoles"]] == [
    "reader"
]
iam.put_role_policy(RoleName="reader", PolicyName="in", PolicyDocument=policy("s3:ListBucket"))
assert iam.list_role_policies(RoleName="reader")["PolicyNames"] == ["in"]
assert (
    iam.get_role_policy(RoleName="reader", PolicyName="in")["PolicyDocument"]["Statement"][0][
        "Action"
    ]
    == "s3:ListBucket"
)
refused("NoSuchEntity", iam.get_role_policy, RoleName="reader", PolicyName="out")

assumed = jo.client("sts").assume_role(
    RoleArn=role["Arn"], RoleSessionName="me", DurationSeconds=7200
)
refused(
    "AccessDenied",
    jo.client("sts").assume_role,
    RoleArn=role["Arn"],
    RoleSessionName="me",
    SourceIdentity="jo",
)
trust["Statement"][0]["Action"] = ["sts:AssumeRole", "sts:SetSourceIdentity"]
iam.update_assume_role_policy(RoleName="reader", PolicyDocument=json.dumps(trust))
named = jo.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="me", SourceIdentity="jo")
assert named["SourceIdentity"] == "jo", named
assert assumed["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/me"
assert assumed["AssumedRoleUser"]["AssumedRoleId"] == role["RoleId"] + ":me"
c = assumed["Credentials"]
reader = boto3.Session(c["AccessKeyId"], c["SecretAccessKey"], c["SessionToken"])
assert reader.client("sts").get_caller_identity()["Arn"] == assumed["AssumedRoleUser"]["Arn"]
assert reader.client("s3").list_objects_v2(Bucket="made-by-jo")["KeyCount"] == 0
refused("AccessDenied", reader.client("s3").put_object, Bucket="made-by-jo", Key="k", Body=b"")

# Entities that are in use cannot be deleted.
refused("DeleteConflict", iam.delete_role, RoleName="reader")
iam.detach_role_policy(RoleName="reader", PolicyArn=arn)
refused("NoSuchEntity", iam.detach_role_policy, RoleName="reader", PolicyArn=arn)
iam.detach_role_policy(
    RoleName="reader", PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
)
refused("DeleteConflict", iam.delete_role, RoleName="reader")
iam.delete_role_policy(RoleName="reader", PolicyName="in")
assert iam.list_instance_profiles_for_role(RoleName="reader")["InstanceProfiles"] == []
iam.delete_role(RoleName="reader")
refused("NoSuchEntity", iam.get_role, RoleName="reader")
refused("InvalidClientTokenId", reader.client("sts").get_caller_identity)

# A managed policy that is attached to a user.
iam.attach_user_policy(UserName="jo", PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
assert [
    p["PolicyName"] for p in iam.list_attached_user_policies(UserName="jo")["AttachedPolicies"]
] == ["IAMReadOnlyAccess"]
assert len(jo.client("iam").list_users()["Users"]) == 1
refused("AccessDenied", jo.client("iam").create_user, UserName="ann")
iam.detach_user_policy(UserName="jo", PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
iam.delete_user_policy(UserName="jo", PolicyName="s3")
iam.delete_access_key(UserName="jo", AccessKeyId=key["AccessKeyId"])
iam.delete_user(UserName="jo")

# Pagination.
for n in range(25):
    iam.create_user(UserName=f"user{n:02}")
    iam.create_role(
        RoleName=f"role{n:02}",
        AssumeRolePolicyDocument=json.dumps(
            {
                **trust,
                "Statement": [
                    {
                        **trust["Statement"][0],
                        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/user{n:02}"},
                    }
                ],
            }
        ),
    )
first = iam.list_users(MaxItems=10)
assert first["IsTruncated"] and first["Users"][-1]["UserName"] == "user09", first
pages = iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 7})
assert [u["UserName"] for page in pages for u in page["Users"]] == [
    f"user{n:02}" for n in range(25)
]
pages = iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 10})
assert [r["RoleName"] for page in pages for r in page["Roles"]] == [
    f"role{n:02}" for n in range(25)
]
local = [p["PolicyName"] for p in iam.list_policies(Scope="Local")["Policies"]]
assert local == ["lake"], local
aws = [p["Arn"] for p in iam.list_policies(Scope="AWS")["Policies"]]
assert "arn:aws:iam::aws:policy/AdministratorAccess" in aws and arn not in aws, aws

print("all passed")
