"""Features to prediction: whether a tumor will respond, with the uncertainty, reasons and limits of that answer.

Plain data in, plain data out, no gRPC. :mod:`~oncoresponse.response.model` opens a trained model and predicts,
:mod:`~oncoresponse.response.training.training` trains one,
:mod:`~oncoresponse.response.training.validation` says how good it is.
"""
