// An application with sessions, around the endpoint of docs/embedding.md.
using System.Security.Claims;
using System.Text;
using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

var builder = WebApplication.CreateBuilder(args);
builder.WebHost.UseUrls($"http://127.0.0.1:{Environment.GetEnvironmentVariable("PORT")}");
builder.Services.AddAuthentication("Session").AddScheme<AuthenticationSchemeOptions, Session>("Session", null);
builder.Services.AddAuthorization();
var app = builder.Build();
app.UseAuthentication();
app.UseAuthorization();

app.MapGet("/", () => Results.File(Environment.GetEnvironmentVariable("PAGE")!, "text/html"));

// RECIPE

app.Run();

class Session(IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory log, UrlEncoder encoder)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, log, encoder)
{
    static readonly Dictionary<string, string?> Tenants =
        new() { ["session-acme"] = "acme", ["session-globex"] = "globex", ["session-lost"] = null };

    protected override Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        if (!Tenants.TryGetValue(Request.Cookies["session"] ?? "", out var tenant))
            return Task.FromResult(AuthenticateResult.NoResult());
        Claim[] claims = tenant is null ? [] : [new Claim("tenant_id", tenant)];
        var user = new ClaimsPrincipal(new ClaimsIdentity(claims, "Session"));
        return Task.FromResult(AuthenticateResult.Success(new AuthenticationTicket(user, "Session")));
    }
}
