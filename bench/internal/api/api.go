// Package api is a client of the HTTP API: it registers accounts, logs in, refreshes, and sends
// what tokens permit.
package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Password of all accounts.
const Password = "correct horse battery staple"

// Register makes an account with the Password.
func Register(ctx context.Context, base, username string) error {
	body, err := json.Marshal(map[string]string{"username": username, "password": Password})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/users", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("register: %s", response.Status)
	}
	return nil
}

// Exchange gets the next refresh token.
func Exchange(ctx context.Context, client *http.Client, base, refreshToken string) (string, error) {
	body, err := Grant(ctx, client, base, RefreshForm(refreshToken))
	return body.RefreshToken, err
}

// Code logs a user of a browser in for an app: it asks GET /authorize with the cookie of the
// browser, and exchanges the code.
func Code(ctx context.Context, client *http.Client, base, cookie string, app App) (Granted, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/authorize?"+app.query(), nil)
	if err != nil {
		return Granted{}, err
	}
	request.Header.Set("Cookie", "gatehouse="+cookie)
	response, err := client.Transport.RoundTrip(request) // which follows no redirect
	if err != nil {
		return Granted{}, err
	}
	_ = response.Body.Close()
	to, err := response.Location()
	if err != nil || to.Query().Get("code") == "" {
		return Granted{}, fmt.Errorf("/authorize: %s, %s", response.Status, response.Header.Get("Location"))
	}
	return Grant(ctx, client, base, url.Values{
		"grant_type": {"authorization_code"}, "client_id": {app.ID}, "redirect_uri": {app.RedirectURI},
		"code": {to.Query().Get("code")}, "code_verifier": {app.Verifier},
	}.Encode())
}

// App is a public client that logs its users in by a code.
type App struct{ ID, RedirectURI, Verifier string }

func (a App) query() string {
	challenge := sha256.Sum256([]byte(a.Verifier))
	return url.Values{
		"response_type": {"code"}, "client_id": {a.ID}, "redirect_uri": {a.RedirectURI},
		"scope": {"openid profile"}, "state": {"state"}, "nonce": {"nonce"},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}.Encode()
}

// RefreshForm is a form for [Grant].
func RefreshForm(refreshToken string) string {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}.Encode()
}

// LoginForm is a form for [Grant].
func LoginForm(username, password string) string {
	return url.Values{"grant_type": {"password"}, "username": {username}, "password": {password}}.Encode()
}

// Granted is an answer of POST /token.
type Granted struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	AuthSession  string `json:"auth_session"` // with an error, if a second factor is asked for
	Error        string `json:"error"`
}

// Grant asks POST /token, here and at peers.
func Grant(ctx context.Context, client *http.Client, base, form string) (body Granted, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/token", strings.NewReader(form))
	if err != nil {
		return body, err
	}
	request.Header.Set("Content-Type", FormType)
	response, err := client.Do(request)
	if err != nil {
		return body, err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil || body.AccessToken == "" {
		return body, errors.Join(err, fmt.Errorf("/token: %d %s", response.StatusCode, body.Error))
	}
	return body, nil
}

// FormType is the Content-Type of a form.
const FormType = "application/x-www-form-urlencoded"

// Send sends a request without a body and returns the status.
func Send(ctx context.Context, client *http.Client, method, url, access string) (int, error) {
	return SendBody(ctx, client, method, url, access, "")
}

// SendBody sends a request with JSON and returns the status.
func SendBody(ctx context.Context, client *http.Client, method, url, access, body string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+access)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// NewClient keeps more connections than that of the library does.
func NewClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
}

// Answer sends a request and returns the status and the whole body.
func Answer(client *http.Client, request *http.Request) (status int, body []byte, err error) {
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}
