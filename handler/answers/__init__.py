"""Answer parsed requests: find the models, encode, score, and write the body.

In: requests and a fleet.
Out: answers: a status and a body.
Imported by: jobs/prediction, model_store/asgi, handler/linear_handler.py, handler/hosting, handler/description.
"""
