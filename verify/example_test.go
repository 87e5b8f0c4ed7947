package verify_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"gatehouse.example/verify"
)

func Example() {
	tokens, err := verify.New(context.Background(), verify.Options{
		URL:      os.Getenv("GATEHOUSE_URL"),
		Issuer:   "http://localhost:8000", // ISSUER, AUDIENCE and SECRET_KEY are Gatehouse's
		Audience: "gatehouse",
		Keys:     [][]byte{[]byte(os.Getenv("SECRET_KEY"))},
		Service:  "shop",
	})
	if err != nil {
		log.Fatal(err)
	}
	cart := func(w http.ResponseWriter, r *http.Request) {
		user, _ := verify.FromContext(r.Context())
		fmt.Fprintf(w, "the cart of %s\n", user.Username)
	}
	http.Handle("/cart", tokens.Middleware(http.HandlerFunc(cart)))
	prices := tokens.Middleware(verify.RequirePermission("prices:write")(http.HandlerFunc(cart)))
	http.Handle("PUT /prices", prices)
	log.Fatal(http.ListenAndServe(os.Getenv("SHOP_ADDR"), nil))
}

func Example_publicKeys() {
	tokens, err := verify.New(context.Background(), verify.Options{
		URL:      os.Getenv("GATEHOUSE_URL"),
		Issuer:   "http://localhost:8000", // ISSUER and AUDIENCE are Gatehouse's
		Audience: "gatehouse",
	})
	if err != nil {
		log.Fatal(err)
	}
	cart := func(w http.ResponseWriter, r *http.Request) {
		user, _ := verify.FromContext(r.Context())
		fmt.Fprintf(w, "the cart of %s\n", user.Username)
	}
	http.Handle("/cart", tokens.Middleware(http.HandlerFunc(cart)))
	log.Fatal(http.ListenAndServe(os.Getenv("SHOP_ADDR"), nil))
}
