"""What an error of the Redis client means for who asked: wait and try again, or end."""

import redis

from penstock.features.units import StoreRefused, StoreUnavailable


def unusable(problem: redis.RedisError, where: str, todo: str) -> StoreUnavailable | StoreRefused:
    """The error to raise: `StoreRefused` where the server knows no such user or the user lacks a right.

    `where` is the server's address, `todo` what to do if it is neither of the two.
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
    return StoreUnavailable(str(problem), where, todo)
