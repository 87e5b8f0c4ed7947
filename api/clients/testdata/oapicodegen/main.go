// Command oapicodegen logs in by the client that oapi-codegen generates from the contract, and
// prints who it is. Its arguments are the service's URL, a username and a password.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"gatehouse.example/api/clients/testdata/oapicodegen/api"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, service, username, password string) error {
	client, err := api.NewClientWithResponses(service)
	if err != nil {
		return err
	}
	grant := api.TokenRequestGrantType("password")
	granted, err := client.IssueTokenWithFormdataBodyWithResponse(ctx, &api.IssueTokenParams{},
		api.TokenRequest{GrantType: &grant, Username: &username, Password: &password})
	switch {
	case err != nil:
		return err
	case granted.JSON401 != nil:
		fmt.Println(granted.JSON401.Error)
		return nil
	case granted.JSON200 == nil:
		return fmt.Errorf("the login got %s: %s", granted.Status(), granted.Body)
	}
	authorize := func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+granted.JSON200.AccessToken)
		return nil
	}
	me, err := client.ReadCurrentUserWithResponse(ctx, authorize)
	switch {
	case err != nil:
		return err
	case me.JSON200 == nil:
		return fmt.Errorf("the account is %s: %s", me.Status(), me.Body)
	}
	fmt.Println(me.JSON200.User.Username)
	return nil
}
