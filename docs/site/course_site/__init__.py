"""How the website is made of the course's own pages; nothing is written twice."""
