"""The page that shows a store in the browser, and the server that gives it there."""
