# What the released code of the paper does where this project does otherwise; `variant=published`
# puts it over any config. docs/settings.md says what no key brings back.
model = dict(target_rule="first", ignored_output=True, bn="published", adapt_bn=False)
schedule = dict(cosine="published", precision="fp16", clip_norm=10.0)
active = dict(when="online", first_round="self")
data = dict(
    source=dict(intensity="raw"),
    train=dict(intensity="raw"),
    val=dict(intensity="raw"),
)
