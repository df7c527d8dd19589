"""Why a request went where it went: what balancers remember, and what journals and logs hold of it."""
