// Command ogen logs in by the client that ogen generates from the contract, and prints who it is.
// Its arguments are the service's URL, a username and a password.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ogen-go/ogen/ogenerrors"

	"gatehouse.example/api/clients/testdata/ogen/api"
)

// credentials are what the client sends: nothing to log in, and then its access token.
type credentials struct{ accessToken string }

// ClientBasic implements [api.SecuritySource].
func (c *credentials) ClientBasic(context.Context, api.OperationName) (api.ClientBasic, error) {
	return api.ClientBasic{}, ogenerrors.ErrSkipClientSecurity
}

// OAuth2PasswordBearer implements [api.SecuritySource].
func (c *credentials) OAuth2PasswordBearer(
	context.Context, api.OperationName,
) (api.OAuth2PasswordBearer, error) {
	return api.OAuth2PasswordBearer{Token: c.accessToken}, nil
}

// ServiceToken implements [api.SecuritySource].
func (c *credentials) ServiceToken(context.Context, api.OperationName) (api.ServiceToken, error) {
	return api.ServiceToken{}, ogenerrors.ErrSkipClientSecurity
}

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, service, username, password string) error {
	held := &credentials{}
	client, err := api.NewClient(service, held)
	if err != nil {
		return err
	}
	granted, err := client.IssueToken(ctx, &api.TokenRequest{
		GrantType: api.NewOptTokenRequestGrantType(api.TokenRequestGrantTypePassword),
		Username:  api.NewOptString(username), Password: api.NewOptString(password),
	}, api.IssueTokenParams{})
	if err != nil {
		return err
	}
	switch answer := granted.(type) {
	case *api.TokenHeaders:
		held.accessToken = answer.Response.AccessToken
	case *api.IssueTokenUnauthorizedHeaders:
		fmt.Println(answer.Response.Error)
		return nil
	default:
		return fmt.Errorf("the login got %T", granted)
	}
	me, err := client.ReadCurrentUser(ctx)
	if err != nil {
		return err
	}
	answer, ok := me.(*api.UserAnswerHeaders)
	if !ok {
		return fmt.Errorf("the account is %T", me)
	}
	fmt.Println(answer.Response.User.Username)
	return nil
}
