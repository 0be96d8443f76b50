"""Pictures with known answers: `photographs` holds the photographs of the lessons and the noise that spoils them."""
