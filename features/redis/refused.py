"""What an error of the Redis client means for who asked: wait and try again, or end."""

import redis

from penstock.features.units import StoreRefused, StoreUnavailable

_CONNECTING = ("reset by peer", "timeout connecting", "no such file")


def unusable(problem: redis.RedisError, where: str, todo: str) -> StoreUnavailable | StoreRefused:
    """The error to raise: `StoreRefused` where the server knows no such user or the user lacks a right.

    `where` is the server's address, `todo` what to do if it is neither of the two, and its disk is not full.
    """
    if isinstance(problem, redis.exceptions.NoPermissionError):
        return StoreRefused(
            f"Redis refuses this user: {problem}",
            where,
            "give it the right; `penstock acls FILE` prints what each role needs",
        )
    if isinstance(problem, redis.exceptions.AuthenticationError):
        return StoreRefused(
            f"Redis does not know this user: {problem}", where, "check the user and password in REDIS_URL"
        )
    if str(problem).startswith("MISCONF"):
        todo = "Redis refuses every write until it can save again: make room on its disk, its log says where"
    elif "certificate" in str(problem).lower():
        todo = "check ssl_ca_certs in REDIS_URL, and that the server's certificate is for this host and is not over"
    elif "wrong_version_number" in str(problem).lower() or "record layer failure" in str(problem).lower():
        todo = "check whether it speaks TLS there (rediss://) or not (redis://)"
    elif any(one in str(problem).lower() for one in _CONNECTING):
        todo = f"{todo}; check REDIS_URL, the files that it names, and whether TLS is spoken there (rediss://) or not (redis://)"
    return StoreUnavailable(str(problem).replace("\n", " "), where, todo)
