"""What to do about a broker that does not answer, by what a client last said of it.

Laws of this file:
- Pure. Both clients' words are known; whoever reads the sentence need not know which of them it was.
"""

from __future__ import annotations

CERTIFICATE = (
    "check PENSTOCK_KAFKA_SSL_CA_LOCATION, and that the broker's certificate is for the name in KAFKA_BOOTSTRAP_SERVERS and is "
    "not over"
)
USER = "check PENSTOCK_KAFKA_SASL_MECHANISM, _SASL_USERNAME and _SASL_PASSWORD"
PROTOCOL = (
    "check PENSTOCK_KAFKA_SECURITY_PROTOCOL, and that KAFKA_BOOTSTRAP_SERVERS is the listener that speaks it"
)
DISCONNECTED = f"see whether it still runs; if it does, {USER}, and PENSTOCK_KAFKA_SECURITY_PROTOCOL"
"""A broker that does not know a user may hang up before its client has read why."""
ABSENT = "start it, or set KAFKA_BOOTSTRAP_SERVERS to where it is, and PENSTOCK_KAFKA_SECURITY_PROTOCOL to what is spoken there"


def advice(said: str) -> str:
    """What to do.

    >>> advice("SSL handshake failed: certificate verify failed") == CERTIFICATE, advice("Connection refused") == ABSENT
    (True, True)
    """
    words = said.lower()
    if "wrong version number" in words or "wrong_version_number" in words or "apiversion" in words:
        return PROTOCOL
    if "certificate" in words or "x509" in words:
        return CERTIFICATE
    if unknown_user(said):
        return USER
    if "socket disconnected" in words:
        return DISCONNECTED
    return PROTOCOL if "ssl" in words and "handshake" in words else ABSENT


def unknown_user(said: str) -> bool:
    """Whether a client says that the broker does not know the user."""
    words = said.lower()
    return any(
        one in words for one in ("authentication failed", "authenticationfailed", "invalid credentials")
    )
