package provider

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/rest"
)

// rejected is an answer that is about the key itself, in the words that the
// provider documents for it. Any other refusal leaves open what the key is.
type rejected struct{ why string }

func (r *rejected) Error() string { return r.why }

// complaint is how the providers word a refusal; each uses a part of it.
type complaint struct {
	Error struct {
		Code    json.RawMessage `json:"code"`
		Type    string          `json:"type"`
		Message string          `json:"message"`
		Details []struct {
			Reason string `json:"reason"`
		} `json:"details"`
	} `json:"error"`
	Errors []struct {
		Message string `json:"message"`
	} `json:"errors"`
	Code int `json:"code"`
}

// code gives the code of the error, which Gemini writes as a number.
func (c complaint) code() string { return strings.Trim(string(c.Error.Code), `"`) }

// get asks for one page. about tells, of a refusal, whether it is about the key.
func get[T any](ctx context.Context, c *rest.Client, path string, query url.Values, about func(status int, said complaint) string) (T, http.Header, error) {
	var out T
	a, err := c.Do(ctx, http.MethodGet, c.Base+path, query, nil)
	if err != nil {
		var said complaint
		if a.Status >= 400 && a.Status < 500 && json.Unmarshal(a.Body, &said) == nil {
			if why := about(a.Status, said); why != "" {
				return out, a.Header, &rejected{why}
			}
		}
		return out, a.Header, err
	}
	err = rest.Decode(c, path, a.Body, &out)
	return out, a.Header, err
}

type model struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// lookOpenAI lists the models
// (https://platform.openai.com/docs/api-reference/models/list,
// https://platform.openai.com/docs/guides/error-codes).
func lookOpenAI(ctx context.Context, _ *key, c *rest.Client) (seen, error) {
	page, header, err := get[struct {
		Data []model `json:"data"`
	}](ctx, c, "/v1/models", nil, func(status int, said complaint) string {
		if status == http.StatusUnauthorized && slices.Contains([]string{"invalid_api_key", "account_deactivated", "invalid_organization"}, said.code()) {
			return said.code()
		}
		return ""
	})
	if err != nil {
		return seen{header: header}, err
	}
	s := seen{header: header}
	return s, s.add(page.Data, func(m model) string { return m.ID })
}

// lookAnthropic lists the models, page by page
// (https://platform.claude.com/docs/en/api/models-list,
// https://platform.claude.com/docs/en/api/errors).
func lookAnthropic(ctx context.Context, _ *key, c *rest.Client) (seen, error) {
	var s seen
	query := url.Values{"limit": {"1000"}}
	for range rest.MaxPages {
		page, header, err := get[struct {
			Data    []model `json:"data"`
			HasMore *bool   `json:"has_more"`
			LastID  string  `json:"last_id"`
		}](ctx, c, "/v1/models", query, func(status int, said complaint) string {
			if status == http.StatusUnauthorized && said.Error.Type == "authentication_error" {
				return said.Error.Type
			}
			return ""
		})
		s.header = header
		if err != nil {
			return s, err
		}
		if page.HasMore == nil || *page.HasMore && page.LastID == "" {
			return s, errors.New("the answer of Anthropic does not say whether there are more models")
		}
		if err := s.add(page.Data, func(m model) string { return m.ID }); err != nil || !*page.HasMore {
			return s, err
		}
		query.Set("after_id", page.LastID)
	}
	return s, errors.New("the list of Anthropic's models does not end")
}

// lookGemini lists the models, page by page
// (https://ai.google.dev/api/models#method:-models.list,
// https://ai.google.dev/gemini-api/docs/troubleshooting).
func lookGemini(ctx context.Context, _ *key, c *rest.Client) (seen, error) {
	var s seen
	query := url.Values{"pageSize": {"1000"}}
	for range rest.MaxPages {
		page, header, err := get[struct {
			Models []model `json:"models"`
			Next   string  `json:"nextPageToken"`
		}](ctx, c, "/v1beta/models", query, func(status int, said complaint) string {
			for _, d := range said.Error.Details {
				if status == http.StatusBadRequest && d.Reason == "API_KEY_INVALID" {
					return d.Reason
				}
			}
			return ""
		})
		s.header = header
		if err != nil {
			return s, err
		}
		if err := s.add(page.Models, func(m model) string { return strings.TrimPrefix(m.Name, "models/") }); err != nil || page.Next == "" {
			return s, err
		}
		query.Set("pageToken", page.Next)
	}
	return s, errors.New("the list of Gemini's models does not end")
}

// add takes a page of models. A provider that lists none has not answered.
func (s *seen) add(page []model, id func(model) string) error {
	if len(page) == 0 {
		return errors.New("the provider lists no models at all")
	}
	for _, m := range page {
		if id(m) == "" {
			return errors.New("the provider lists a model without an id")
		}
		s.models = append(s.models, id(m))
	}
	return nil
}

// lookSendGrid asks for the key's scopes
// (https://www.twilio.com/docs/sendgrid/api-reference/api-key-permissions/retrieve-a-list-of-scopes-for-which-this-user-has-access).
func lookSendGrid(ctx context.Context, _ *key, c *rest.Client) (seen, error) {
	page, header, err := get[struct {
		Scopes []string `json:"scopes"`
	}](ctx, c, "/v3/scopes", nil, func(status int, said complaint) string {
		if status == http.StatusUnauthorized && len(said.Errors) > 0 && strings.Contains(strings.ToLower(said.Errors[0].Message), "authorization") {
			return "authorization is invalid, expired or revoked"
		}
		return ""
	})
	if err == nil && len(page.Scopes) == 0 {
		err = errors.New("SendGrid lists no scopes at all")
	}
	return seen{scopes: page.Scopes, header: header}, err
}

// lookStripe asks for the balance, which says whether the key is for real money
// (https://docs.stripe.com/api/balance/balance_retrieve,
// https://docs.stripe.com/api/errors).
func lookStripe(ctx context.Context, p *key, c *rest.Client) (seen, error) {
	page, header, err := get[struct {
		Object string `json:"object"`
		Live   *bool  `json:"livemode"`
	}](ctx, c, "/v1/balance", nil, func(status int, said complaint) string {
		if status != http.StatusUnauthorized || said.Error.Type != "invalid_request_error" && said.Error.Type != "authentication_error" {
			return ""
		}
		if said.code() == "api_key_expired" {
			return said.code()
		}
		return said.Error.Type
	})
	s := seen{header: header}
	if err != nil {
		return s, err
	}
	if page.Object != "balance" || page.Live == nil {
		return s, errors.New("the answer of Stripe is not a balance that says whether it is live")
	}
	mode := map[bool]string{true: "live", false: "test"}[*page.Live]
	s.facts = map[string]string{"mode": mode}
	if p.Mode != "any" && p.Mode != mode {
		s.miss = "it is a key for mode " + mode + ", not " + p.Mode
	}
	return s, nil
}

// lookTwilio asks for the account (https://www.twilio.com/docs/iam/api/account,
// https://www.twilio.com/docs/api/errors/20003).
func lookTwilio(ctx context.Context, p *key, c *rest.Client) (seen, error) {
	page, header, err := get[struct {
		SID    string `json:"sid"`
		Status string `json:"status"`
		Type   string `json:"type"`
	}](ctx, c, "/2010-04-01/Accounts/"+p.Account+".json", nil, func(status int, said complaint) string {
		if status == http.StatusUnauthorized && said.Code == 20003 {
			return "error 20003"
		}
		return ""
	})
	s := seen{header: header}
	if err != nil {
		return s, err
	}
	if page.SID != p.Account || page.Status == "" {
		return s, errors.New("the answer of Twilio is not this account with its status")
	}
	s.facts = map[string]string{"status": short(page.Status), "type": short(page.Type)}
	if page.Status != "active" {
		s.miss = "its account is " + short(page.Status)
	}
	return s, nil
}
