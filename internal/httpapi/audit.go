package httpapi

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse/internal/auth"
)

type eventsResponse struct {
	Events []eventBody `json:"events"`
	Next   *string     `json:"next"` // to be given as cursor, or null on the last page
}

type eventBody struct {
	ID            int64        `json:"id"`
	At            time.Time    `json:"at"`
	Action        auth.Action  `json:"action"`
	Outcome       string       `json:"outcome"`
	Actor         actorBody    `json:"actor"`
	User          *subjectBody `json:"user"`
	Target        string       `json:"target"`
	RequestID     string       `json:"request_id"`
	ClientAddress string       `json:"client_address"`
	UserAgent     string       `json:"user_agent"`
}

type actorBody struct {
	Kind string       `json:"kind"`
	User *subjectBody `json:"user"`
}

// subjectBody is a user, with the name of now, which is null if there is no such user any more.
type subjectBody struct {
	ID       uuid.UUID `json:"id"`
	Username *string   `json:"username"`
}

func bodyOfSubject(id uuid.UUID, name string) *subjectBody {
	switch {
	case id == uuid.Nil:
		return nil
	case name == "":
		return &subjectBody{ID: id}
	}
	return &subjectBody{id, &name}
}

func bodyOfEvent(e auth.RecordedEvent) eventBody {
	return eventBody{
		ID: e.ID, At: e.At.UTC(), Action: e.Action, Outcome: e.Outcome,
		Actor: actorBody{e.Actor, bodyOfSubject(e.ActorID, e.ActorName)}, User: bodyOfSubject(e.UserID, e.UserName),
		Target: e.Target, RequestID: e.RequestID, ClientAddress: e.Address, UserAgent: e.UserAgent,
	}
}

// getAudit shows events, the newest first.
func (s *server) getAudit(c *gin.Context) error {
	filter, limit, err := eventsQuery(c)
	if err != nil {
		return err
	}
	question := questionOf(c, "audit", "user", "actor", "action", "outcome", "request_id", "since", "until")
	cursor, err := s.openCursor(c, question)
	if err != nil {
		return err
	}
	before, err := parsePosition(cursor)
	if err != nil {
		return err
	}
	found, err := s.service.Events(c.Request.Context(), filter, before, limit+1)
	if err != nil {
		return err
	}
	out := eventsResponse{Events: make([]eventBody, min(len(found), limit))}
	for n := range out.Events {
		out.Events[n] = bodyOfEvent(found[n])
	}
	if len(found) > limit {
		next := s.cursors.Make(s.clock(), question, positionText(found[limit-1].Position()))
		out.Next = &next
	}
	writeJSON(c, http.StatusOK, "application/json", out)
	return nil
}

// positionText and parsePosition are the inside of a cursor: microseconds, as precise as the database is.
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
	limit = pageLimit(c, &wrong)
	filter = auth.EventFilter{
		UserID: user("user"), ActorID: user("actor"), Action: auth.Action(word("action")), Outcome: word("outcome"),
		RequestID: word("request_id"), Since: moment("since"), Until: moment("until"),
	}
	if wrong != nil {
		return filter, 0, wrong
	}
	return filter, limit, nil
}
