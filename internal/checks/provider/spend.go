package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// chat asks OpenAI (https://platform.openai.com/docs/api-reference/chat/create) or
// Anthropic (https://platform.claude.com/docs/en/api/messages) to write one token.
type chat struct {
	Model               string    `json:"model"`
	Messages            []message `json:"messages"`
	MaxTokens           int       `json:"max_tokens,omitempty"`
	MaxCompletionTokens int       `json:"max_completion_tokens,omitempty"`
}

// generate asks Gemini to (https://ai.google.dev/api/generate-content).
type generate struct {
	Contents []content `json:"contents"`
	Config   limit     `json:"generationConfig"`
}

type content struct {
	Parts []part `json:"parts"`
}

type part struct {
	Text string `json:"text"`
}

type limit struct {
	MaxOutputTokens int `json:"maxOutputTokens"`
}

// spent is what the answers say about what was used.
type spent struct {
	Usage *struct {
		OpenAI    int `json:"prompt_tokens"`
		Anthropic int `json:"input_tokens"`
	} `json:"usage"`
	Metadata *struct {
		Prompt int `json:"promptTokenCount"`
	} `json:"usageMetadata"`
}

// spend lets the first model write one token.
func (p *key) spend(ctx context.Context, c *rest.Client, o check.Outcome) (check.Outcome, error) {
	const hello = "Hello"
	path, ask := "/v1/chat/completions", any(chat{Model: p.Models[0], Messages: []message{{"user", hello}}, MaxCompletionTokens: 1})
	switch p.Provider {
	case anthropic:
		path, ask = "/v1/messages", chat{Model: p.Models[0], Messages: []message{{"user", hello}}, MaxTokens: 1}
	case gemini:
		path, ask = "/v1beta/models/"+p.Models[0]+":generateContent", generate{Contents: []content{{[]part{{hello}}}}, Config: limit{1}}
	}
	text, err := json.Marshal(ask)
	if err != nil {
		return check.Outcome{}, fmt.Errorf("write request: %w", err)
	}
	a, err := c.Do(ctx, http.MethodPost, c.Base+path, nil, text)
	o = limits(o, a.Header)
	if err != nil {
		if why := usedUp(a); why != "" {
			o.Verdict, o.Reason = check.Fail, fmt.Sprintf("the key %s is accepted, but nothing can be spent with it: %s", p.Key, why)
			return o, nil
		}
		return check.Outcome{}, fmt.Errorf("let %s write one token: %w", p.Models[0], err)
	}
	var s spent
	if err := rest.Decode(c, path, a.Body, &s); err != nil {
		return check.Outcome{}, err
	}
	used := 0
	if s.Usage != nil {
		used = s.Usage.OpenAI + s.Usage.Anthropic
	}
	if s.Metadata != nil {
		used += s.Metadata.Prompt
	}
	if used <= 0 {
		return check.Outcome{}, errors.New("the answer to the probe does not say how many tokens it used")
	}
	o.Reason += fmt.Sprintf("; %s answered a request of %s", p.Models[0], plural(used, "token"))
	return o, nil
}

// usedUp gives the provider's word for an account that has nothing left.
func usedUp(a rest.Answer) string {
	var said complaint
	if json.Unmarshal(a.Body, &said) != nil {
		return ""
	}
	switch {
	case a.Status == http.StatusTooManyRequests && said.code() == "insufficient_quota":
		return said.code()
	case a.Status == http.StatusPaymentRequired && said.Error.Type == "billing_error":
		return said.Error.Type
	}
	return ""
}
