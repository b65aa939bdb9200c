#!/usr/bin/python
"""Runs the probe on a managed host: standard library only, Python 3.8 or newer, nothing is changed."""

from __future__ import annotations

DOCUMENTATION = """
module: remediator_collect
short_description: Read what a Docker host is
description: Returns the evidence that remediator judges. Changes nothing.
options:
  request:
    description: Which files to read and to look at.
    type: dict
    required: true
  timeout:
    description: How many seconds the engine may take to answer.
    type: int
    default: 10
"""

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.remediator import api, owners, probe  # noqa: E402


def main() -> None:
    """Collect and return the evidence."""
    module = AnsibleModule(
        {"request": {"type": "dict", "required": True}, "timeout": {"type": "int", "default": 10}},
        supports_check_mode=True,
    )
    try:
        evidence = probe.collect(module.params["request"], api.ApiEngine(module.params["timeout"]))
        evidence["owners"] = owners.gather(module.params["request"], evidence["engine"])
    except (OSError, ValueError) as error:
        module.fail_json(msg="cannot be read: %s" % error)
    module.exit_json(changed=False, evidence=evidence)


if __name__ == "__main__":
    main()
