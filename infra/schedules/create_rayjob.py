"""Create a RayJob like the suspended one that is named, unless one of its copies has not ended yet: TEMPLATE.

Runs in a pod, whose service account may get, list and create rayjobs in its namespace. Exit code: 0 created, or nothing
to do; 2 the template or the permission is missing; 4 Kubernetes' API does not answer.
"""

import os
import sys
from pathlib import Path

import httpx

ACCOUNT = Path(os.environ.get("SERVICE_ACCOUNT_FOLDER", "/var/run/secrets/kubernetes.io/serviceaccount"))
ENDED = {"Complete", "Failed", "ValidationFailed"}
LABEL = "gridline/created-from"
WRONG, AWAY = 2, 4


def main(template_name: str) -> int:
    """Ask, create and say what was done."""
    namespace, token = ((ACCOUNT / name).read_text().strip() for name in ("namespace", "token"))
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    address = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{address}/apis/ray.io/v1/namespaces/{namespace}/rayjobs"
    with httpx.Client(headers=headers, verify=str(ACCOUNT / "ca.crt"), timeout=30, trust_env=False) as client:
        copies = client.get(url, params={"labelSelector": f"{LABEL}={template_name}"}).raise_for_status().json()
        for each in copies["items"]:
            if each.get("status", {}).get("jobDeploymentStatus") not in ENDED:
                print(f"{each['metadata']['name']} has not ended yet: nothing to do")
                return 0
        template = client.get(f"{url}/{template_name}").raise_for_status().json()
        created = client.post(url, json=copy_of(template)).raise_for_status().json()
        print(f"created {created['metadata']['name']}")
    return 0


def copy_of(template: dict) -> dict:
    """Return a RayJob with the specification of another, that starts at once and gets a name of its own."""
    name = template["metadata"]["name"]
    labels = {**template["metadata"].get("labels", {}), LABEL: name}
    metadata = {"generateName": f"{name}-", "labels": labels}
    return {
        **{key: template[key] for key in ("apiVersion", "kind")},
        "metadata": metadata,
        "spec": {**template["spec"], "suspend": False},
    }


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except httpx.HTTPStatusError as exc:
        said = f"{exc.request.method} {exc.request.url.path}: {exc.response.status_code} {exc.response.text[:300]}"
        print(said, file=sys.stderr)
        sys.exit(AWAY if exc.response.status_code >= 500 else WRONG)
    except (httpx.TransportError, OSError) as exc:
        print(f"Kubernetes' API does not answer: {exc}", file=sys.stderr)
        sys.exit(AWAY)
