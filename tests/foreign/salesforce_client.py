"""What people do with the package `simple-salesforce`, at a site of the sandbox: salesforce_client.py URL."""

import json
import sys

import requests
from simple_salesforce import Salesforce, SalesforceMalformedRequest, SalesforceResourceNotFound

url = sys.argv[1]
grant = requests.post(f"{url}/services/oauth2/token", data={
    "grant_type": "client_credentials", "client_id": "c", "client_secret": "s3cr3t",
}).json()
org = Salesforce(instance_url=grant["instance_url"], session_id=grant["access_token"], version="62.0")
# The package goes by https alone.
org.base_url = f"{grant['instance_url']}/services/data/v62.0/"

case = org.Case
case.base_url = f"{grant['instance_url']}/services/data/v62.0/sobjects/Case/"
made = case.create({"Subject": "By another client", "Description": "Hello", "Status": "New"})
seen = {"made": [made["success"], made["errors"], made["id"][:3], len(made["id"])]}
seen["upserted"] = case.upsert("External_Ticket_Id__c/tkt-foreign", {"Subject": "Upserted"})
seen["again"] = case.upsert("External_Ticket_Id__c/tkt-foreign", {"Subject": "Upserted again"})
seen["updated"] = case.update(made["id"], {"Status": "Working"})
shown = case.get(made["id"])
seen["shown"] = [shown["Subject"], shown["Status"], shown["IsClosed"]]
rows = org.query("SELECT Id, Subject FROM Case ORDER BY SystemModstamp ASC, Id ASC")
seen["rows"] = sorted(row["Subject"] for row in rows["records"])
try:
    case.create({"Nonsense__c": 1})
except SalesforceMalformedRequest as error:
    seen["refused"] = error.content[0]["errorCode"]
try:
    case.get("500xx0000009999AAA")
except SalesforceResourceNotFound as error:
    seen["missing"] = error.content[0]["errorCode"]
print(json.dumps(seen))
