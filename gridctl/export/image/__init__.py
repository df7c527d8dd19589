"""What images are built from: `context` gathers it. The two scripts run inside, and import nothing of ours."""
