"""What the error codes of S3 mean for who runs a job: a cause and a remedy in one line, without any secret."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

CONDITION_FAILED = frozenset({"PreconditionFailed", "412"})
FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "507"})
MISSING_KEY = frozenset({"NoSuchKey"})
TRANSIENT_CODES = frozenset(
    {
        "ConditionalRequestConflict",
        "OperationAborted",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "RequestTimeout",
        "InternalError",
        "ServiceUnavailable",
        "IncompleteBody",
        "BadDigest",
    }
)
TRANSIENT_STATUS = frozenset({408, 409, 429, 500, 502, 503, 504})
CAUSES = {
    "NoSuchBucket": "there is no such bucket: create it ('aws s3 mb s3://{bucket}'), or correct --store or 'store.uri'",
    "InvalidBucketName": "this is not a valid bucket name: correct 'store.uri'",
    "InvalidAccessKeyId": "the server does not know this access key: check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret does not fit the access key: check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the session token has expired: renew the credentials",
    "InvalidToken": "the session token is not valid: check AWS_SESSION_TOKEN",
    "TokenRefreshRequired": "the session token has expired: renew the credentials",
    "AccessDenied": "these credentials have no permission for it: grant s3:ListBucket and s3:GetObject to read, "
    "s3:PutObject to train, and s3:DeleteObject for claims, probes and gc, as infra/iam has them",
    "AccountProblem": "the account is blocked: ask the operator of the storage",
    "AllAccessDisabled": "all access to it is disabled: ask the operator of the storage",
    "RequestTimeTooSkewed": "the clock of this machine is more than 15 minutes off: set it",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set AWS_REGION to it",
    "IllegalLocationConstraintException": "the bucket is in another region: set AWS_REGION to it",
    "PermanentRedirect": "the bucket is in another region: set AWS_REGION to it",
    "QuotaExceeded": "the quota is used up: run 'gridline gc', or ask for more",
    "NotImplemented": "the server has no create-if-absent (If-None-Match), without which commits can be lost: "
    "use AWS S3, Ceph, MinIO or a folder",
}
CAUSES |= dict.fromkeys(FULL - {"QuotaExceeded"}, "the storage is full: run 'gridline gc', or ask for more")
CAUSES |= {"301": CAUSES["PermanentRedirect"], "403": CAUSES["AccessDenied"], "Forbidden": CAUSES["AccessDenied"]}
CAUSES |= {"501": CAUSES["NotImplemented"], "404": CAUSES["NoSuchBucket"], "TokenExpired": CAUSES["ExpiredToken"]}


def is_transient(code: str, status: int) -> bool:
    """Return whether the same request may succeed when it is made again."""
    return code in TRANSIENT_CODES or status in TRANSIENT_STATUS


def cause_of(code: str, status: int, message: str | None, bucket: str) -> str:
    """Return why S3 refused; the server's own message is quoted for a code that has no text here."""
    if cause := CAUSES.get(code or str(status)):
        return f"{cause.replace('{bucket}', bucket)} ({code or status})"
    return f"the server answered {status} {code}: {' '.join((message or '').split()) or 'no reason given'}"


def unknown_host(url: str) -> str | None:
    """Return the host of an address if no server of names knows it; None if one does, or if none can be asked."""
    host = urlsplit(url).hostname
    if host is None:
        return None
    try:
        socket.getaddrinfo(host, None)
    except socket.gaierror as exc:
        return host if exc.errno == socket.EAI_NONAME else None
    except OSError:
        return None
    return None
