"""`python -m tests.audit`: known vulnerabilities in the packages of this environment, by pip-audit.

An advisory service is asked over the network: PyPI's, then OSV's. Where neither answers, nothing is claimed: it says
so, and does not fail.
"""

import json
import subprocess
import sys
from typing import Any, Final

SERVICES: Final = ("pypi", "osv")
ANSWER_S_MAX: Final = 300.0


def main() -> int:
    """Returns 1 if a vulnerability is known."""
    for service in SERVICES:
        packages = _asked(service)
        audited = [package for package in packages if "vulns" in package]
        if audited:
            break
    else:
        print(f"audit: skipped, no advisory service can be reached ({', '.join(SERVICES)})")
        return 0
    found = [(package, vuln) for package in audited for vuln in package["vulns"]]
    for package, vuln in found:
        fixed = ", ".join(vuln["fix_versions"]) or "no version"
        print(f"{package['name']} {package['version']}: {vuln['id']}, fixed in {fixed}")
    unknown = [
        package["name"] for package in packages if package not in audited and package["name"] != "taskferry"
    ]
    if unknown:
        print(f"audit: {service} does not know {', '.join(unknown)}")
    print(f"audit: {len(audited)} packages, {len(found)} known vulnerabilities ({service})")
    return 1 if found else 0


def _asked(service: str) -> list[dict[str, Any]]:
    """What pip-audit says of each package, with `vulns` if the service knows it; nothing if it could not ask."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--vulnerability-service",
        service,
        "--local",
        "--skip-editable",
    ]
    command += ["--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=ANSWER_S_MAX)
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, LookupError):
        return []
    return packages


if __name__ == "__main__":
    sys.exit(main())
