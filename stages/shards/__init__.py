"""Token shards: fixed-size files of unsigned integers and the manifest that describes them (numpy only)."""
