"""Read requests: bytes in one of the accepted formats become columns of a model card.

In: a request, and the card of a model.
Out: options, and an array for each feature.
Imported by: jobs/prediction, model_store/asgi, handler/linear_handler.py, handler/hosting, handler/description,
handler/answers.
"""
