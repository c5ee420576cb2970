"""Who looks, and who may ask for something: logins by a password file, names from a trusted proxy, and where a request came from.

`gate.Gate` stands before every answer and puts a `page.Person` into the request's scope; `doors` are the pages to log in and out.
A page that shows an act asks `Person.may`; what is posted is judged again, whatever the page showed.
"""
