"""Asks the Observer in this container how it is: exit code 0 when it answers and does not fail, 1 otherwise.

`healthcheck.py PORT`. GET /health needs no token. What is printed, `docker inspect` shows.
"""

from __future__ import annotations

import http.client
import json
import sys


def ask(port: int, seconds: float = 8) -> tuple[bool, str]:
    """Whether it is well, and what is to be said of it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        report = json.loads(answer.read(1_000_000))
        status = report["status"]
        failing = [
            name
            for name, findings in report["checks"].items()
            if any(finding["status"] == "fail" for finding in findings)
        ]
    except (OSError, http.client.HTTPException) as error:
        return False, f"no answer on port {port}: {type(error).__name__}: {error}"
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return (
            False,
            f"no health report on port {port} (status {answer.status}): {type(error).__name__}: {error}",
        )
    finally:
        connection.close()
    well = answer.status == 200 and status in ("pass", "warn")
    return well, " ".join([f"{answer.status} {status}", *failing])


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not arguments[0].isdecimal():
        print(f"healthcheck: expected a port, got {arguments}")
        return 1
    well, told = ask(int(arguments[0]))
    print(told)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
