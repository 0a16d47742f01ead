"""A stand-in for an LLM engine: the OpenAI API of vLLM's server with scripted delays and failures, and no model.

``python -m tritonfleet.fake_engine --help`` lists what can be scripted. It makes lifecycle tests fast; it never
stands in where a test claims that an engine works.
"""
