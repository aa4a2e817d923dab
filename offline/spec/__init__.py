"""What a sweep is asked to do: settings, grid, plan, prompts."""
