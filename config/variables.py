"""Variables of the environment that several read, by name. Imports nothing, so that it may be imported first."""

#: Hold the token, and the path of a file with it.
TOKEN_VARIABLE = "GRIDCTL_TOKEN"  # noqa: S105  the name of it
TOKEN_FILE_VARIABLE = "GRIDCTL_TOKEN_FILE"  # noqa: S105
#: Further names by which services without a token may be asked.
ALLOWED_HOSTS_VARIABLE = "ALLOWED_HOSTS"
