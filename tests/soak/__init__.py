"""Hours of a whole venue with everything going wrong: is what should stay level level?"""
