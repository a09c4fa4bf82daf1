"""metadata: names, versions and what people say of them.

Owns teams and their API keys, projects, collections, drafts, versions with their manifests, tags, aliases with their whole
history, uses, and the gapless event log of each project, all in one database. It asks blob whether the chunks that a draft
names are stored; it never sees a byte of them.
"""
