package httpapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"

	"gatehouse.example/api"
	"gatehouse.example/internal/edge"
)

const (
	docsPath     = "/docs"
	docsJSONPath = "/openapi.json"

	// docsRedirectPath is where a login by the page comes back to, in a window of its own. The
	// documents name it too, since operators register it.
	docsRedirectPath = docsPath + "/oauth2-redirect.html"
)

// docsRedirectPage hands the answer of a login to the page that has opened its window. Swagger UI
// brings no such page that a Content-Security-Policy admits.
//
//go:embed docs_redirect.html
var docsRedirectPage []byte

// docs serves the HTTP contract to people and programs.
type docs struct {
	page  edge.Handler // Swagger UI; its Content-Security-Policy admits nothing but this service
	asset edge.Handler // docsRedirectPath and what the page loads; edge.ErrNotFound for others
	json  edge.Handler
	yaml  edge.Handler
}

// newDocs prepares what the contract's routes serve. An error means that the contract or Swagger UI
// in this binary is broken, and the caller must not start.
func newDocs(service api.Service) (*docs, error) {
	asYAML, asJSON, err := service.Contract()
	if err != nil {
		return nil, err
	}
	ui := v5emb.NewHandlerWithConfig(swgui.Config{
		Title:       "Gatehouse",
		SwaggerJSON: service.Base + docsJSONPath,
		BasePath:    service.Base + docsPath,
		// Requests arrive without the base.
		InternalBasePath: docsPath,
		SettingsUI: map[string]string{
			"validatorUrl": "null", // else the contract's address is sent to swagger.io
			// else the token outlives the page in the browser's storage
			"persistAuthorization": "false",
			"oauth2RedirectUrl": "window.location.origin + " +
				strconv.Quote(service.Base+docsRedirectPath),
			// As a popup, the login keeps the window that has opened it.
			"onComplete": `function () {
				window.ui.initOAuth({
					usePkceWithAuthorizationCodeGrant: true,
					additionalQueryStringParams: {display: 'popup'}
				});
			}`,
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
		yaml:  docsContent("application/yaml; charset=utf-8", asYAML),
	}, nil
}

// docsPage is an [http.ResponseWriter] that keeps the page instead of sending it.
type docsPage struct {
	bytes.Buffer
	header http.Header
	status int
}

func (p *docsPage) Header() http.Header    { return p.header }
func (p *docsPage) WriteHeader(status int) { p.status = status }

// docsRender renders the page once. The policy has hashes of it, so they must be made from the very
// bytes that are served.
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
	docsReference    = regexp.MustCompile(`(?:src|href)="[^"]*(` + docsPath + `/[^"]+)"`)
)

// docsPolicy returns the Content-Security-Policy (CSP Level 3) under which the page works. Inline
// code is admitted by its hash alone, so markup that is injected into the page runs nothing.
// connect-src keeps a token that was typed or fetched here from being sent elsewhere. Swagger UI
// draws its icons from data: images.
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

// docsHashes returns a source expression, after a space, for each inline element that the pattern
// finds.
func docsHashes(element *regexp.Regexp, page []byte) string {
	var sources strings.Builder
	for _, match := range element.FindAllSubmatch(page, -1) {
		sum := sha256.Sum256(match[1])
		sources.WriteString(" 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'")
	}
	return sources.String()
}

func docsWithPolicy(policy string, next edge.Handler) edge.Handler {
	return func(c *gin.Context) error {
		c.Header("Content-Security-Policy", policy)
		return next(c)
	}
}

// docsContent serves bytes that change only with the binary. A browser asks each time, and gets 304
// until it talks to another version.
func docsContent(mediaType string, content []byte) edge.Handler {
	etag := edge.ETag(content)
	return func(c *gin.Context) error {
		edge.ServeContent(c, mediaType, "no-cache", etag, content)
		return nil
	}
}

// docsRedirect serves the page whose URL has the code of a login. Nobody is told of the URL.
func docsRedirect(c *gin.Context) error {
	c.Header("Referrer-Policy", "no-referrer")
	c.Data(http.StatusOK, "text/html; charset=utf-8", docsRedirectPage)
	return nil
}

// docsAssets serves docsRedirectPath, and the files of Swagger UI that the page refers to, and no
// others. Browsers keep them for a day. Not longer, because the names carry no version: after an
// upgrade, the new page runs with the old files until then.
func docsAssets(page []byte, ui http.Handler) edge.Handler {
	var paths []string
	for _, match := range docsReference.FindAllSubmatch(page, -1) {
		paths = append(paths, string(match[1]))
	}
	redirect := docsWithPolicy(docsPolicy(docsRedirectPage), docsRedirect)
	return func(c *gin.Context) error {
		if c.Request.URL.Path == docsRedirectPath {
			return redirect(c)
		}
		if !slices.Contains(paths, c.Request.URL.Path) {
			return edge.ErrNotFound
		}
		c.Header("Cache-Control", "public, max-age=86400")
		ui.ServeHTTP(c.Writer, c.Request)
		return nil
	}
}
