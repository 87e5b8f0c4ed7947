package httpapi

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"gatehouse/internal/auth"
)

const (
	maxCursors      = 16
	maxCursorLength = 64 // bytes
)

// getRevocations tells another service what was revoked since it last asked. Nearly always that is nothing, and the
// answer costs one comparison.
func (s *server) getRevocations(c *gin.Context) error {
	raw, err := bearer(c.Request)
	if err != nil {
		return err
	}
	set, service, err := s.service.Revocations(raw)
	noteOf(c).service = service
	if err != nil {
		return err
	}
	since := c.QueryArray("since")
	if !areCursors(since) {
		return auth.InputError{{Field: "since", Message: "must be at most 16 cursors from earlier answers"}}
	}
	c.Header("Cache-Control", "private, no-cache")
	if current := etagOf(set.Cursor()); matches(c.Request.Header["If-None-Match"], current) {
		c.Header("ETag", current)
		noteOf(c).routine = true // twice a second from each service
		c.Status(http.StatusNotModified)
		return nil
	}
	report, cursor := set.Since(since...)
	c.Header("ETag", etagOf(cursor))
	writeJSON(c, http.StatusOK, "application/json", report)
	return nil
}

// getRevocationFeed tells anybody what was revoked, signed, so that it may come from a cache that nobody trusts.
func (s *server) getRevocationFeed(c *gin.Context) error {
	feed, err := s.service.RevocationFeed()
	if err != nil {
		return err
	}
	c.Header("Cache-Control", "public, max-age=1")
	noteOf(c).routine = true // each second from each cache
	c.Data(http.StatusOK, "application/jwt", feed)
	return nil
}

func areCursors(texts []string) bool {
	for _, text := range texts {
		if len(text) > maxCursorLength {
			return false
		}
	}
	return len(texts) <= maxCursors
}

// etagOf makes a weak one (RFC 9110 §8.8.1): two reports under one cursor may differ in order, and in what has expired.
func etagOf(cursor string) string { return `W/"` + cursor + `"` }

// matches tells whether If-None-Match names an entity tag, by the weak comparison (RFC 9110 §13.1.2). The tag has no
// comma and no quote in it, so that no part of another one can be taken for it.
func matches(ifNoneMatch []string, etag string) bool {
	for _, list := range ifNoneMatch {
		for one := range strings.SplitSeq(list, ",") {
			if one = strings.Trim(one, " \t"); one == "*" || strings.TrimPrefix(one, "W/") == strings.TrimPrefix(etag, "W/") {
				return true
			}
		}
	}
	return false
}
