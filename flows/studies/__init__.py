"""What can be said of a project's studies: prices, designs, states, snapshots, answers, and what is stale."""
