"""End with the exit code of gridline in a job that `ray job submit` has waited for: SUBMISSION.

`ray job submit` itself ends with 1 for every failure. A job that the cluster does not know, or a cluster that does not
answer, is 4: try again. Needs RAY_ADDRESS, the dashboard's address, and the token.
"""

import sys

from ray.exceptions import RayError
from ray.job_submission import JobStatus, JobSubmissionClient

CLUSTER = 4
INTERRUPTED = 130

try:
    info = JobSubmissionClient().get_job_info(sys.argv[1])
except (RuntimeError, ConnectionError, OSError, RayError) as exc:  # RayError: the token is missing or wrong
    sys.exit(print(f"the job {sys.argv[1]} can't be found: {str(exc).splitlines()[0]}", file=sys.stderr) or CLUSTER)
if info.status == JobStatus.SUCCEEDED:
    sys.exit(0)
if info.status == JobStatus.STOPPED:
    sys.exit(INTERRUPTED)
sys.exit(info.driver_exit_code or CLUSTER)  # no code: the driver did not start, its node was lost, or it still runs
