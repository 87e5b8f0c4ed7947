// Package apitest compares what tests send and receive over HTTP with the contract,
// api/openapi.yaml.
package apitest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"gatehouse.example/api"
)

// Contract returns the parsed api/openapi.yaml.
func Contract(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(api.YAML())
	if err != nil {
		t.Fatalf("api/openapi.yaml: %v", err)
	}
	return doc
}

// Client returns a client that fails the test for each answer that the contract does not describe.
// It also fails the test for each request that succeeded although the contract does not allow it.
// It follows no redirects.
func Client(t testing.TB) *http.Client {
	t.Helper()
	return ClientBelow(t, "")
}

// ClientBelow is [Client] for a service below a path. The contract is the one that the service
// serves there.
func ClientBelow(t testing.TB, base string) *http.Client {
	t.Helper()
	promised, err := atRoot()
	if base != "" {
		promised, err = promisedBelow(base)
	}
	if err != nil {
		t.Fatalf("api/openapi.yaml: %v", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 128
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: &checked{t, transport, promised},
		CheckRedirect: func(*http.Request,
			[]*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

// promise is a contract to compare with.
type promise struct {
	mu     sync.Mutex // the validators change the document
	router routers.Router
}

// atRoot is read once for all tests of a process: with the race detector, that takes longer than
// most of them.
var atRoot = sync.OnceValues(func() (*promise, error) { return promisedBelow("") })

func promisedBelow(base string) (*promise, error) {
	document, _, err := api.Service{Base: base, PasswordGrant: true}.Contract()
	if err != nil {
		return nil, err
	}
	contract, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, err
	}
	allowUnknownParts(contract)
	router, err := gorillamux.NewRouter(contract)
	return &promise{router: router}, err
}

// allowUnknownParts says of forms what holds for every object by default: unknown members are
// allowed. The decoder of multipart forms wants to be told.
func allowUnknownParts(contract *openapi3.T) {
	allowed := true
	for _, path := range contract.Paths.Map() {
		for _, operation := range path.Operations() {
			if operation.RequestBody == nil {
				continue
			}
			if form := operation.RequestBody.Value.Content["multipart/form-data"]; form != nil &&
				form.Schema.Value.AdditionalProperties.Has == nil {
				form.Schema.Value.AdditionalProperties.Has = &allowed
			}
		}
	}
}

type checked struct {
	t    testing.TB
	base http.RoundTripper
	*promise
}

// RoundTrip implements [http.RoundTripper].
func (c *checked) RoundTrip(r *http.Request) (*http.Response, error) {
	sent, err := drain(r.Body)
	if err != nil {
		return nil, err
	}
	out := r.Clone(r.Context())
	out.Body = io.NopCloser(bytes.NewReader(sent))
	response, err := c.base.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	got, err := drain(response.Body)
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(got))
	if err := c.check(r, sent, response, got); err != nil {
		c.t.Errorf("%s %s answered %d: %v\nwith %v\n%s", r.Method, r.URL.Path, response.StatusCode,
			err, response.Header, got)
	}
	return response, nil
}

// isFileOrVerify reports whether a slash at the end of the path has a meaning.
func isFileOrVerify(path string) bool {
	return strings.Contains(path, "/verify") && !strings.HasSuffix(path, "/email/verify") ||
		strings.Contains(path[strings.LastIndexByte(path, '/')+1:], ".")
}

func isOpaque(mediaType string) bool {
	return strings.HasPrefix(mediaType, "text/html") || mediaType == "application/jwt" ||
		strings.HasPrefix(mediaType, "application/yaml") ||
		strings.HasPrefix(mediaType, "text/css") || strings.HasPrefix(mediaType, "image/")
}

func drain(body io.ReadCloser) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	defer body.Close()
	return io.ReadAll(body)
}

func (c *checked) check(r *http.Request, sent []byte, response *http.Response, got []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	request := r.Clone(r.Context())
	request.Body = io.NopCloser(bytes.NewReader(sent))
	if request.Method == http.MethodHead {
		request.Method = http.MethodGet
	}
	route, params, err := c.router.FindRoute(request)
	if trimmed, slash := strings.CutSuffix(request.URL.Path, "/"); err != nil && slash &&
		!isFileOrVerify(trimmed) {
		request.URL.Path = trimmed // by the contract, this slash changes nothing
		route, params, err = c.router.FindRoute(request)
	} else if err != nil && !slash && response.StatusCode == http.StatusOK {
		request.URL.Path += "/" // nor does it at the path of the issuer
		route, params, err = c.router.FindRoute(request)
	}
	if err != nil && isPreflight(r) && response.StatusCode == http.StatusNoContent {
		return c.checkPreflight(r, response, got)
	}
	if err != nil {
		return checkUnknown(r, response)
	}
	input := &openapi3filter.RequestValidationInput{
		Request: request, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true,
			AuthenticationFunc:    openapi3filter.NoopAuthenticationFunc,
			// Some bodies cannot be checked: a page is no data, nor is the contract itself, a JWS
			// needs a key, and an answer to HEAD has no body.
			ExcludeResponseBody: r.Method == http.MethodHead ||
				isOpaque(response.Header.Get("Content-Type")),
		},
	}
	if response.StatusCode < http.StatusBadRequest {
		if err := openapi3filter.ValidateRequest(r.Context(), input); err != nil {
			return fmt.Errorf("the contract does not allow this request: %w", err)
		}
	}
	return openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input,
		Status:                 response.StatusCode, Header: response.Header,
		Body:    io.NopCloser(bytes.NewReader(got)),
		Options: input.Options,
	})
}

func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
}

// checkPreflight checks the answer to a preflight (Fetch standard §3.3.5), which no contract lists.
// It is about a path of the contract, and has no body.
func (c *checked) checkPreflight(r *http.Request, response *http.Response, got []byte) error {
	asked := r.Clone(r.Context())
	for _, asked.Method = range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		if _, _, err := c.router.FindRoute(asked); err != nil {
			continue
		}
		if len(got) > 0 || response.Header.Get("X-Request-Id") == "" ||
			response.Header.Get("X-Content-Type-Options") != "nosniff" {
			return fmt.Errorf("this is no answer to a preflight")
		}
		return nil
	}
	return fmt.Errorf("the contract has no such path")
}

// checkUnknown checks the answer for a path or method that is not in the contract. It must be 404
// or 405, except for the files that the page at /docs loads. A person gets a page.
func checkUnknown(r *http.Request, response *http.Response) error {
	if strings.HasPrefix(r.URL.Path, "/docs/") && response.StatusCode == http.StatusOK {
		return nil
	}
	if s := response.StatusCode; s != http.StatusNotFound && s != http.StatusMethodNotAllowed {
		return fmt.Errorf("the contract has no such path or method")
	}
	want := "application/problem+json; charset=utf-8"
	if response.StatusCode == http.StatusNotFound &&
		strings.Contains(r.Header.Get("Accept"), "text/html") {
		want = "text/html; charset=utf-8"
	}
	if got := response.Header.Get("Content-Type"); got != want {
		return fmt.Errorf("Content-Type is %q", got)
	}
	return nil
}
