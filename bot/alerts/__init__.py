"""What a person is told, when and where: conditions of a step, once per change, through apprise."""
