"""Grounds: recipes of which model, questions, tools and sizes count."""
