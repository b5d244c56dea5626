"""What strangers try at the doors of a cluster: programs that run on a host of a lab."""

STRANGERS = {
    "nobody": {"RAY_AUTH_MODE": "disabled"},
    "with a wrong token": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
}
"""The environment of those who may not come in."""

ASK_FOR_A_JOB = """\
import json, sys, urllib.error, urllib.request
url, marker, token = sys.argv[1], sys.argv[2], sys.argv[3]
body = json.dumps({"entrypoint": f"touch {marker}"}).encode()
headers = {"Content-Type": "application/json"}
if token:
    headers["Authorization"] = f"Bearer {token}"
try:
    request = urllib.request.Request(url, data=body, headers=headers)
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
except Exception as error:
    print(type(error).__name__)
"""
"""With a URL, a file that the job is to make, and a token: the status of the answer."""

ASK_A_CLIENT = """\
import socket, sys
import ray

def host():
    return socket.gethostname()

ray.init(sys.argv[1], logging_level="ERROR", log_to_driver=False)
print(ray.get(ray.remote(host).remote()))
"""
"""With the address of Ray's client server: the host that a task of this program ran on."""
