"""Log drivers and their options: which there are, and what keeps the daemon or every container from starting.

From moby: daemon/logger (ValidateLogOpts of each driver, and what New refuses); seen with 20.10, 26.1 and 28.5.
A driver that is not built in makes `run` fail, its options make the daemon fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from .flags import FALSE, TRUE
from .types import size
from .values import Problem

_ATTRIBUTES: Final = ("labels", "labels-regex", "env", "env-regex", "tag")
_COMMON: Final = (
    "mode", "max-buffer-size", "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress",
)  # fmt: skip
_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "json-file": ("max-size", "max-file", "compress", *_ATTRIBUTES),
    "local": ("max-size", "max-file", "compress"),
    "journald": _ATTRIBUTES,
    "syslog": (
        "syslog-address", "syslog-facility", "syslog-format", "syslog-tls-ca-cert", "syslog-tls-cert", "syslog-tls-key",
        "syslog-tls-skip-verify", *_ATTRIBUTES,
    ),
    "gelf": (
        "gelf-address", "gelf-compression-type", "gelf-compression-level", "gelf-tcp-max-reconnect",
        "gelf-tcp-reconnect-delay", *_ATTRIBUTES,
    ),
    "fluentd": (
        "fluentd-address", "fluentd-async", "fluentd-async-connect", "fluentd-async-reconnect-interval",
        "fluentd-buffer-limit", "fluentd-max-retries", "fluentd-read-timeout", "fluentd-request-ack",
        "fluentd-retry-wait", "fluentd-sub-second-precision", "fluentd-write-timeout", *_ATTRIBUTES,
    ),
    "awslogs": (
        "awslogs-region", "awslogs-group", "awslogs-stream", "awslogs-create-group", "awslogs-create-stream",
        "awslogs-datetime-format", "awslogs-multiline-pattern", "awslogs-endpoint", "awslogs-credentials-endpoint",
        "awslogs-force-flush-interval-seconds", "awslogs-max-buffered-events", "awslogs-format", "tag",
    ),
    "splunk": (
        "splunk-token", "splunk-url", "splunk-source", "splunk-sourcetype", "splunk-index", "splunk-capath",
        "splunk-caname", "splunk-insecureskipverify", "splunk-format", "splunk-verify-connection", "splunk-gzip",
        "splunk-gzip-level", "splunk-index-acknowledgment", *_ATTRIBUTES,
    ),
    "gcplogs": ("gcp-project", "gcp-log-cmd", "gcp-meta-zone", "gcp-meta-name", "gcp-meta-id", *_ATTRIBUTES),
    "logentries": ("logentries-token", "line-only", *_ATTRIBUTES),
}  # fmt: skip
_REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "gelf": ("gelf-address",),
    "awslogs": ("awslogs-group",),
    "splunk": ("splunk-url", "splunk-token"),
    "logentries": ("logentries-token",),
}
_FACILITIES: Final = frozenset(
    {"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"}
    | {f"local{number}" for number in range(8)}
)
_SYSLOG_FORMATS: Final = ("rfc3164", "rfc5424", "rfc5424micro", "")
_NEWEST_OPTIONS: Final = 28  # from here on engines may have more options than are listed


def built_in(driver: str, generation: int) -> bool:
    """Whether a log driver comes with the engine."""
    if driver == "logentries":
        return generation < 26
    return driver in _OPTIONS or driver in ("none", "")


def _flag(text: str) -> bool:
    return text in TRUE | FALSE


_START: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = {
    "mode": (lambda one: one in ("blocking", "non-blocking", ""), "blocking or non-blocking"),
    "max-buffer-size": (lambda one: size(one) is not None, "a size"),
    "cache-disabled": (_flag, "true or false"),
    "syslog-facility": (lambda one: one in _FACILITIES or one.isdigit() or not one, "a facility of syslog"),
    "syslog-format": (lambda one: one in _SYSLOG_FORMATS, "rfc3164, rfc5424 or rfc5424micro"),
    "syslog-address": (
        lambda one: not one or bool(re.match(r"(udp|tcp|tcp\+tls|unix|unixgram)://.", one)),
        "an address such as udp://HOST:PORT",
    ),
    "gelf-address": (lambda one: bool(re.fullmatch(r"(udp|tcp)://.+:\d+", one)), "an address as udp://HOST:PORT"),
    "gelf-compression-type": (lambda one: one in ("gzip", "zlib", "none"), "gzip, zlib or none"),
    "fluentd-address": (
        lambda one: not one or bool(re.match(r"(tcp|tls|unix)://.", one)) or ("://" not in one and one.count(":") < 2),
        "HOST:PORT, or an address that begins with tcp:// or unix://",
    ),
    "fluentd-async": (_flag, "true or false"),
    "fluentd-sub-second-precision": (_flag, "true or false"),
}
_RUN: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = {
    "max-size": (lambda one: bool(size(one)), "a size, such as 10m"),
    "max-file": (lambda one: one.isdigit() and int(one) > 0, "a whole number of at least 1"),
    "compress": (_flag, "true or false"),
}


def problem(driver: str, options: Mapping[str, Any], generation: int, newer: bool) -> tuple[str, Problem] | None:
    """What is wrong with a log driver and its options: the key to blame (log-driver or log-opts), and what."""
    driver = driver or "json-file"
    if not built_in(driver, generation):
        if options:
            return "log-driver", Problem(
                "start", f"the engine has no log driver {driver}, and takes no log-opts for it"
            )
        return "log-driver", Problem("run", f"the engine has no log driver {driver}")
    if driver == "none":
        return None
    known = (*_OPTIONS[driver], *_COMMON)
    for name in options:
        gone = name == "fluentd-async-connect" and generation >= 28
        if (name not in known and not newer and generation <= _NEWEST_OPTIONS) or gone:
            return "log-opts", Problem("start", f"{name} is no option of the log driver {driver}")
    texts = {name: str(value or "") for name, value in options.items()}
    for name, (good, wanted) in _START.items():
        if name in texts and not good(texts[name]):
            return "log-opts", Problem("start", f"{name} is {texts[name]}, and has to be {wanted}")
    if "max-buffer-size" in texts and texts.get("mode") != "non-blocking":
        return "log-opts", Problem("start", "max-buffer-size goes with mode non-blocking alone")
    for name in _REQUIRED.get(driver, ()):
        if not texts.get(name):
            return "log-opts", Problem("run", f"the log driver {driver} needs {name}")
    return _rotation(driver, texts)


def _rotation(driver: str, texts: Mapping[str, str]) -> tuple[str, Problem] | None:
    if driver not in ("json-file", "local"):
        return None
    for name, (good, wanted) in _RUN.items():
        if name in texts and not good(texts[name]):
            return "log-opts", Problem("run", f"{name} is {texts[name]}, and has to be {wanted}")
    rotates = "max-size" in texts and int(texts.get("max-file", "1")) > 1
    if driver == "json-file" and texts.get("compress") in TRUE and not rotates:
        return "log-opts", Problem("run", "compress needs max-size, and max-file of at least 2")
    return None
