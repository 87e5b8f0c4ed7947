package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"

	"gatehouse/api"
)

const (
	docsPath     = "/docs"
	docsJSONPath = "/openapi.json"
)

// docs serves the HTTP contract to people and to programs.
type docs struct {
	page  handler // Swagger UI, under a Content-Security-Policy that admits nothing but this service
	asset handler // the files that the page loads, below docsPath; errNotFound for others
	json  handler
	yaml  handler
}

// newDocs prepares everything that the contract's routes serve. An error means that the contract or Swagger UI
// as built into the binary cannot be used; the caller must not start.
func newDocs() (*docs, error) {
	asJSON, err := api.JSON()
	if err != nil {
		return nil, err
	}
	ui := v5emb.NewHandlerWithConfig(swgui.Config{
		Title:       "Gatehouse",
		SwaggerJSON: docsJSONPath,
		BasePath:    docsPath,
		SettingsUI: map[string]string{
			"validatorUrl":         "null",  // else the contract's address is sent to swagger.io
			"persistAuthorization": "false", // else the token outlives the page in the browser's storage
		},
	})
	page, err := docsRender(ui)
	if err != nil {
		return nil, err
	}
	return &docs{
		page:  docsWithPolicy(docsPolicy(page), docsContent("text/html; charset=utf-8", page)),
		asset: docsAssets(page, ui),
		json:  docsContent("application/json; charset=utf-8", asJSON),
		yaml:  docsContent("application/yaml; charset=utf-8", api.YAML()),
	}, nil
}

// docsPage is the http.ResponseWriter that keeps the page instead of sending it.
type docsPage struct {
	bytes.Buffer
	header http.Header
	status int
}

func (p *docsPage) Header() http.Header    { return p.header }
func (p *docsPage) WriteHeader(status int) { p.status = status }

// docsRender asks Swagger UI for its page once: the policy must be made of the very bytes that are served.
func docsRender(ui http.Handler) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, docsPath, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", docsPath, err)
	}
	page := docsPage{header: http.Header{}, status: http.StatusOK}
	ui.ServeHTTP(&page, request)
	if page.status != http.StatusOK {
		return nil, fmt.Errorf("render %s: status %d", docsPath, page.status)
	}
	if page.Len() == 0 {
		return nil, errors.New("render " + docsPath + ": the page is empty")
	}
	return page.Bytes(), nil
}

var (
	docsInlineScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
	docsInlineStyle  = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	docsReference    = regexp.MustCompile(`(?:src|href)="(` + docsPath + `/[^"]+)"`)
)

// docsPolicy returns the Content-Security-Policy (CSP Level 3) under which the page works. Inline code is admitted
// by its hash alone, so markup that is injected into the page runs nothing; connect-src keeps a token that was
// typed or fetched here from being sent elsewhere. Swagger UI draws its icons from data: images.
func docsPolicy(page []byte) string {
	return strings.Join([]string{
		"default-src 'none'",
		"script-src 'self'" + docsHashes(docsInlineScript, page),
		"style-src 'self'" + docsHashes(docsInlineStyle, page),
		"img-src 'self' data:",
		"connect-src 'self'",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
	}, "; ")
}

// docsHashes returns a source expression, with a space before it, for each inline element that the pattern finds.
func docsHashes(element *regexp.Regexp, page []byte) string {
	var sources strings.Builder
	for _, match := range element.FindAllSubmatch(page, -1) {
		sum := sha256.Sum256(match[1])
		sources.WriteString(" 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'")
	}
	return sources.String()
}

func docsWithPolicy(policy string, next handler) handler {
	return func(c *gin.Context) error {
		c.Header("Content-Security-Policy", policy)
		return next(c)
	}
}

// docsContent serves bytes that change with the binary only: a browser asks each time and is told 304 until it
// talks to another version.
func docsContent(mediaType string, content []byte) handler {
	etag := etagOfContent(content)
	return func(c *gin.Context) error {
		serveContent(c, mediaType, "no-cache", etag, content)
		return nil
	}
}

func etagOfContent(content []byte) string {
	sum := sha256.Sum256(content)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

// serveContent serves bytes, or says that they are those that the client has.
func serveContent(c *gin.Context, mediaType, cacheControl, etag string, content []byte) {
	c.Header("Content-Type", mediaType)
	c.Header("Cache-Control", cacheControl)
	c.Header("ETag", etag)
	c.Request.Header.Del("Range") // a part of a document is of use to nobody
	http.ServeContent(c.Writer, c.Request, "", time.Time{}, bytes.NewReader(content))
}

// docsAssets serves the files of Swagger UI that the page refers to; it has others, which nobody needs. Browsers
// keep them for a day and not longer because their names carry no version: after an upgrade the new page meets
// the old files until then.
func docsAssets(page []byte, ui http.Handler) handler {
	var paths []string
	for _, match := range docsReference.FindAllSubmatch(page, -1) {
		paths = append(paths, string(match[1]))
	}
	return func(c *gin.Context) error {
		if !slices.Contains(paths, c.Request.URL.Path) {
			return errNotFound
		}
		c.Header("Cache-Control", "public, max-age=86400")
		ui.ServeHTTP(c.Writer, c.Request)
		return nil
	}
}
