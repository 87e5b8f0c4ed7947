package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/wire"
)

type eventsResponse struct {
	Events []wire.Event `json:"events"`
	Next   *string      `json:"next"` // the cursor of the next page; null on the last page
}

// getAudit lists events, the newest first.
func (s *API) getAudit(c *gin.Context) error {
	filter, limit, err := eventsQuery(c)
	if err != nil {
		return err
	}
	asked := []string{"user", "actor", "action", "outcome", "request_id", "since", "until"}
	// The version before does not know these. Without them, its cursors open here, and ours there.
	if filter.Actor != "" || filter.Operator != "" {
		asked = append(asked, "actor_kind", "operator")
	}
	question := questionOf(c, "audit", asked...)
	cursor, err := s.openCursor(c, question)
	if err != nil {
		return err
	}
	before, err := parsePosition(cursor)
	if err != nil {
		return err
	}
	page, err := auth.ReadPage(limit, func(limit int) ([]auth.RecordedEvent, error) {
		return s.Audit.Events(c.Request.Context(), filter, before, limit)
	})
	if err != nil {
		return err
	}
	out := eventsResponse{Events: make([]wire.Event, len(page.Items))}
	for n, event := range page.Items {
		out.Events[n] = wire.EventOf(event)
	}
	if last := page.Last(); last != nil {
		next := s.cursors.Make(s.clock(), question, positionText(last.Position()))
		out.Next = &next
	}
	writeJSON(c, http.StatusOK, "application/json", out)
	return nil
}

// positionText and parsePosition write and read the position inside a cursor. It has microseconds,
// like PostgreSQL's timestamps.
func positionText(p auth.EventPosition) string { return fmt.Sprint(p.At.UnixMicro(), " ", p.ID) }

func parsePosition(text string) (auth.EventPosition, error) {
	if text == "" {
		return auth.EventPosition{}, nil
	}
	var at, id int64
	_, err := fmt.Sscan(text, &at, &id)
	return auth.EventPosition{At: time.UnixMicro(at), ID: id}, err
}

func eventsQuery(c *gin.Context) (filter auth.EventFilter, limit int, err error) {
	var wrong auth.InputError
	check := func(name, message string, ok bool) {
		if _, given := c.GetQuery(name); given && !ok {
			wrong = append(wrong, auth.FieldError{Field: name, Message: message})
		}
	}
	user := func(name string) uuid.UUID {
		id, err := uuid.Parse(c.Query(name))
		check(name, "must be the id of a user", err == nil && id != uuid.Nil)
		return id
	}
	moment := func(name string) time.Time {
		at, err := time.Parse(time.RFC3339, c.Query(name))
		check(name, "must be a time of RFC 3339", err == nil)
		return at
	}
	word := func(name string) string {
		check(name, "is none", isText(c.Query(name)))
		return c.Query(name)
	}
	kind := func(name string) auth.ActorKind {
		given := auth.ActorKind(c.Query(name))
		check(name, "must be anonymous, user, client, operator or service",
			given == auth.ActorUser || slices.Contains(auth.ActorKinds(), given))
		return given
	}
	limit = pageLimit(c, &wrong)
	filter = auth.EventFilter{
		UserID: user("user"), ActorID: user("actor"), Actor: kind("actor_kind"),
		Operator: word("operator"), Action: auth.Action(word("action")), Outcome: word("outcome"),
		RequestID: word("request_id"), Since: moment("since"), Until: moment("until"),
	}
	if wrong != nil {
		return filter, 0, wrong
	}
	return filter, limit, nil
}
