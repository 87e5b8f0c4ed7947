package verify_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"gatehouse.example/verify"
)

func Example_strongLogin() {
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
	strong := verify.RequireLogin(verify.ACR2, 5*time.Minute)
	http.Handle("POST /payment", tokens.Middleware(strong(http.HandlerFunc(cart))))
	log.Fatal(http.ListenAndServe(os.Getenv("SHOP_ADDR"), nil))
}
