-- NotifyListeners lets a listener find out whether it hears anything.
-- name: NotifyListeners :exec
SELECT pg_notify('gatehouse_probe', @payload);
