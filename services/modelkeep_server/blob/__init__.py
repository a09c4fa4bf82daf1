"""The blob service keeps bytes: chunks of up to 16 MiB, each named by its SHA-256 and stored once.

It owns the store of objects (memory, a folder, or S3) and an index of it: which chunks are live, which teams hold them, what
leases protect, and which uploads were granted. It knows nothing of files, manifests or versions, and calls no other service.
"""
