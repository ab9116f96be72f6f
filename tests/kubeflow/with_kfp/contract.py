"""Does with kfp's published client what ours does, against the same server: `python contract.py URL FILE RUN`. What it reads of each answer is printed as JSON.

The client turns answers into the models of the API's schema, and refuses states that this does not know.
"""

import json
import sys

import kfp_server_api
from kfp import Client

_, url, file, run_id = sys.argv
client = Client(host=url)
experiment = client.get_experiment(experiment_name="Default")
made = client.run_pipeline(experiment.experiment_id, "theirs", file, params={"images_commit": "x"})
api = kfp_server_api.RunServiceApi(kfp_server_api.ApiClient(kfp_server_api.Configuration(host=url)))
ours = api.run_service_get_run(run_id)
theirs = api.run_service_get_run(made.run_id)
client.terminate_run(made.run_id)
print("answers", json.dumps({"ours": [ours.state, ours.display_name, ours.created_at.isoformat()], "theirs": [theirs.state, theirs.run_id]}))
