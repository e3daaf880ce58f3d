"""What people do with the package `pysnow`, at a site of the sandbox: servicenow_client.py HOST PATH."""

import json
import sys

import pysnow

host, path = sys.argv[1:]
instance = pysnow.Client(host=host, user="bot", password="p4ss", use_ssl=False)
incidents = instance.resource(base_path=f"{path}/api/now", api_path="/table/incident")

made = incidents.create(payload={
    "short_description": "By another client", "correlation_id": "tkt-foreign", "urgency": "2", "impact": "2",
}).one()
seen = {"made": [made["short_description"], made["number"][:3], made["state"], made["priority"]]}
changed = incidents.request(
    "PATCH", path_append=f"/{made['sys_id']}", data=json.dumps({"state": "2", "comments": "A remark"}),
).one()
seen["state"] = changed["state"]
found = incidents.get(query={"correlation_id": "tkt-foreign"}, stream=True).all()
seen["found"] = [row["sys_id"] == made["sys_id"] for row in found]
seen["nothing"] = len(list(incidents.get(query={"correlation_id": "none"}, stream=True).all()))
print(json.dumps(seen))
