"""The HTTP service: Segmind's contract for outpainting, with jobs and credits that survive a crash.

`app.create_app` puts it together; docs/service.md says how it is used. Needs the extra `serve`.
"""
